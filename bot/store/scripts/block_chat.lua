-- Note how long a chat takes nothing, by the store's own clock; what is over is forgotten.
-- KEYS: fence, frozen   ARGV: token, chat, how long (ms)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], 'GT', now + ARGV[3], ARGV[2])
redis.call('PEXPIREAT', KEYS[2], math.ceil(redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]))
return 1
