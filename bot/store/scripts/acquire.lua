-- Acquire a line that is free, ours, or held by a host that is gone or proven dead.
-- KEYS: fence, lease, lines:open, our host   ARGV: owner, proof, line
-- Returns {token, owner}, {0, holder, milliseconds left}, or {-1} where the store has
-- no key of our host: beat first.
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return {-1} end
local held = redis.call('GET', KEYS[2])
if held and held ~= ARGV[1] and alive(held) then
  local proof = string.match(held, '^[^|]*|([^|]*)|')
  if ARGV[2] == '' or proof ~= ARGV[2] then
    return {0, held, redis.call('PTTL', host_of(held))}
  end
end
local token = redis.call('INCR', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], 'NX', 0, ARGV[3])
return {token, ARGV[1]}
