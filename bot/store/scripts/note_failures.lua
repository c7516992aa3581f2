-- Note how often sending a part failed: what an owner of the line counted, the next one goes on with.
-- KEYS: fence, failing   ARGV: token, part, counts, lifetime of the key (s)
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 1
