-- What was set aside is not needed.
-- KEYS: fence, then the held sums of each scope   ARGV: token, hold
for i = 2, #KEYS do redis.call('HDEL', KEYS[i], ARGV[2]) end
return 1
