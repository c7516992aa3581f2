-- Store the updates that were not seen before. Needs no fence: the seen-set makes a repeat harmless.
-- KEYS: inbox, seen, fence, lines:stirred, lines:stirs
-- ARGV: how long names are remembered (ms), the owner's token or 0, then of each update: its name,
--   its id, its JSON
-- Returns the newest id before this call, then the inbox id of each update, or '' if it was seen.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {'0-0'}
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then found[1] = info[i + 1] end
  end
end
local new = false
for i = 3, #ARGV, 3 do
  if redis.call('ZADD', KEYS[2], 'NX', now, ARGV[i]) == 1 then
    found[#found + 1] = redis.call('XADD', KEYS[1], '*', 'u', ARGV[i + 1], 'r', ARGV[i + 2])
    new = true
  else
    found[#found + 1] = ''
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
if new and redis.call('GET', KEYS[3]) ~= ARGV[2] then notify(KEYS[1], KEYS[4], KEYS[5]) end
return found
