-- Save what was cut off a result; the oldest one of its transcript goes.
-- KEYS: fence, truncated results   ARGV: token, handle, body, how many are kept, seconds
local kept = {}
for handle in string.gmatch(redis.call('HGET', KEYS[2], 'order') or '', '%S+') do
  if handle ~= ARGV[2] then kept[#kept + 1] = handle end
end
kept[#kept + 1] = ARGV[2]
while #kept > tonumber(ARGV[4]) do redis.call('HDEL', KEYS[2], table.remove(kept, 1)) end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3], 'order', table.concat(kept, ' '))
redis.call('EXPIRE', KEYS[2], ARGV[5])
return 1
