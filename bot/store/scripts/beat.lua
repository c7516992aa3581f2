-- Keep this host, and with it its lines: a line can only be taken while its host's key is gone.
-- So one key is renewed, and all lines are looked at only after the key was gone or a reply lost;
-- else some of them in turn, for the store may have been emptied, restored or edited by hand.
-- A lease whose fence did not move is still ours.
-- KEYS: hosts:alive, our host
-- ARGV: owner, lifetime (ms), host as it is announced or '', 'all' or 'some' of our lines,
--   these as JSON: [[line, token] …]
-- The names of the lines' keys are made here: to write out and read thousands of them costs more.
-- Returns {} where the key was gone and not all lines were named (nothing is done then), else
-- {{hosts alive}, {places of the lines that are lost, the first being 1}}.
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
