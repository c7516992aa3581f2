-- Keep this host alive, and with it its lines: they can only be taken once its key is gone.
-- So one key is renewed. All lines are checked only after the key was gone or a reply was lost; else
-- some of them in turn, since the store may have been emptied, restored or edited by hand. A lease
-- whose fence did not move is still ours.
-- KEYS: hosts:alive, our host
-- ARGV: owner, lifetime (ms), the host as it is announced or '', 'all' or 'some' of our lines,
--   these as JSON: [[line, token] …]
-- The names of the lines' keys are made here: to send thousands of them would cost more.
-- Returns {} where the key was gone and not all lines were named (nothing is done then), else
-- {{hosts alive}, {positions of the lost lines, from 1}}.
local BLOCK = 500
local owner, lifetime = ARGV[1], ARGV[2]
if ARGV[4] ~= 'all' and redis.call('GET', KEYS[2]) ~= owner then return {} end
redis.call('SET', KEYS[2], owner, 'PX', lifetime)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[4] == 'all' then redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - lifetime * 60) end
if ARGV[3] ~= '' then redis.call('ZADD', KEYS[1], now, ARGV[3]) end
local lines, lost = cjson.decode(ARGV[5]), {}
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
    local fence, holder = found[at - 1], found[at]
    if fence ~= lines[i][2] or (holder and holder ~= owner) then
      lost[#lost + 1] = i
    elseif not holder then
      redis.call('SET', names[at], owner)
    end
  end
end
return {redis.call('ZRANGEBYSCORE', KEYS[1], now - lifetime, now + lifetime), lost}
