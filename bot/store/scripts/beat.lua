-- Keep lines, all in one call. An expired lease whose fence did not move is still ours.
-- KEYS: lines:open, hosts:alive, then fence and lease of each line
-- ARGV: owner, lifetime (ms), host as it is announced or '', then token and name of each line
-- Returns 1 for each line that is kept, 0 for each that is lost.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '' then redis.call('ZADD', KEYS[2], now, ARGV[3]) end
local kept = {}
for i = 1, (#KEYS - 2) / 2 do
  local fence, lease = KEYS[i * 2 + 1], KEYS[i * 2 + 2]
  local token, line = ARGV[i * 2 + 2], ARGV[i * 2 + 3]
  local holder = redis.call('GET', lease)
  if redis.call('GET', fence) == token and (not holder or holder == ARGV[1]) then
    redis.call('SET', lease, ARGV[1], 'PX', ARGV[2])
    redis.call('ZADD', KEYS[1], now + ARGV[2], line)
    kept[i] = 1
  else
    kept[i] = 0
  end
end
return kept
