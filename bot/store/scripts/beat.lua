-- Keep lines, all in one call. An expired lease whose fence did not move is still ours.
-- KEYS: hosts:alive
-- ARGV: owner, lifetime (ms), host as it is announced or '', then JSON: [[line, token] …]
-- The names of the lines' keys are made here: to write out and read thousands of them costs more
-- than all the rest of an idle host does.
-- Returns the places of the lines that are lost, the first being 1.
local BLOCK = 500
local owner, lifetime = ARGV[1], ARGV[2]
if ARGV[3] ~= '' then
  local time = redis.call('TIME')
  redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[3])
end
local lines, lost = cjson.decode(ARGV[4]), {}
for before = 0, #lines - 1, BLOCK do
  local last = math.min(before + BLOCK, #lines)
  local names = {}
  for i = before + 1, last do
    local line = '{' .. lines[i][1] .. '}:'
    names[#names + 1] = line .. 'fence'
    names[#names + 1] = line .. 'lease'
  end
  local found = redis.call('MGET', unpack(names))
  for i = before + 1, last do
    local at = (i - before) * 2
    local fence, holder, lease = found[at - 1], found[at], names[at]
    if fence ~= lines[i][2] or (holder and holder ~= owner) then
      lost[#lost + 1] = i
    elseif holder then
      redis.call('PEXPIRE', lease, lifetime)
    else
      redis.call('SET', lease, owner, 'PX', lifetime)
    end
  end
end
return lost
