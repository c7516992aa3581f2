-- Store what concerns the turn of an HTTP conversation: a stop, or an answer to a question.
-- KEYS: inbox, seen, lease, lines:due
-- ARGV: how long names are remembered (ms), line, our host, name, JSON
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('ZADD', KEYS[2], 'NX', now, ARGV[4]) == 0 then return 0 end
redis.call('PEXPIRE', KEYS[2], ARGV[1])
redis.call('XADD', KEYS[1], '*', 'u', '0', 'r', ARGV[5])
redis.call('ZADD', KEYS[4], now, ARGV[2])
local lease = redis.call('GET', KEYS[3])
if lease and lease ~= ARGV[3] then redis.call('PUBLISH', 'wake:' .. ARGV[2], ARGV[2]) end
return 1
