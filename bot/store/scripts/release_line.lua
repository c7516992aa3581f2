-- Give a line back, so that another host may acquire it at once. The fence moves, so that a beat on
-- its way does not take the line for ours.
-- KEYS: fence, lease   ARGV: token, line
redis.call('INCR', KEYS[1])
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', 'lines:free', ARGV[2])
return 1
