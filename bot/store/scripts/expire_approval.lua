-- The turn of an approval request is over: drop its timer, and keep it a while for late presses.
-- KEYS: fence, approval, timers   ARGV: token, nonce, lifetime of the request (s)
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
