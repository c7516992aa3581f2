-- Note that a group has another id from now on.
-- KEYS: fence, moved   ARGV: token, its new id, the one before
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return 1
