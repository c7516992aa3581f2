-- Give a line back, so that another host may acquire it at once.
-- KEYS: fence, lease   ARGV: token, line
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', 'lines:free', ARGV[2])
return 1
