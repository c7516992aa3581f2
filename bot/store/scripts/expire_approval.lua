-- A sheet has done its work: no timer wakes it; it stays a while, to answer late presses kindly.
-- KEYS: fence, approval, timers   ARGV: token, nonce, lifetime of the sheet (s)
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
