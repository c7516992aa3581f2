-- Give a line back, so that anybody may take it at once.
-- KEYS: fence, lease, lines:open   ARGV: token, line
redis.call('DEL', KEYS[2])
redis.call('ZADD', KEYS[3], 0, ARGV[2])
redis.call('PUBLISH', 'lines:free', ARGV[2])
return 1
