-- Store what was not seen before. Needs no fence: the seen-set makes a second append harmless.
-- KEYS: inbox, seen   ARGV: horizon (ms), then update id and raw update of each
-- Returns the inbox id of each update, or '' for one that was seen.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = {}
for i = 2, #ARGV, 2 do
  if redis.call('ZADD', KEYS[2], 'NX', now, ARGV[i]) == 1 then
    ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', 'u', ARGV[i], 'r', ARGV[i + 1])
  else
    ids[#ids + 1] = ''
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1])
return ids
