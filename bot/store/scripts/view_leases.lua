-- Which hosts are alive, and who holds which line. A host's key that would last longer than its owner
-- asked for was made before the server's clock was set back: it gets one lifetime more, not an hour.
-- KEYS: hosts:alive, then the lease of each line   ARGV: lifetime (ms)
-- Returns {hosts}, {holder of each line, or ''}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local hosts = redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[1], now + ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1] * 60)
local holders, known = {}, {}
local function holds(holder)
  if known[holder] == nil then
    local left, asked = redis.call('PTTL', host_of(holder)), tonumber(string.match(holder, '|(%d+)$'))
    if asked and left > asked then redis.call('PEXPIRE', host_of(holder), asked) end
    known[holder] = left ~= -2
  end
  return known[holder]
end
for i = 2, #KEYS do
  local holder = redis.call('GET', KEYS[i])
  holders[#holders + 1] = holder and holds(holder) and holder or ''
end
return {hosts, holders}
