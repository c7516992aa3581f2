-- Take a line that is free, ours, or held by an incarnation that is proven dead.
-- KEYS: fence, lease, lines:open   ARGV: owner, lifetime (ms), proof, line
-- Returns {token, owner} or {0, holder, milliseconds left}.
local held = redis.call('GET', KEYS[2])
if held and held ~= ARGV[1] then
  local proof = string.match(held, '^[^|]*|([^|]*)|')
  if ARGV[3] == '' or proof ~= ARGV[3] then
    return {0, held, redis.call('PTTL', KEYS[2])}
  end
end
local token = redis.call('INCR', KEYS[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[3], now + ARGV[2], ARGV[4])
return {token, ARGV[1]}
