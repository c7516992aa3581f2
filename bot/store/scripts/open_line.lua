-- Acquire a conversation over HTTP, as `acquire` does, and read what waits in it.
-- KEYS: fence, lease, our host, inbox, outbox, timers
-- ARGV: owner, proof, most entries of the inbox, most parts of the outbox
-- Returns {token, owner, entries, parts, timers}, or what `acquire` returns where it is not ours.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return {-1} end
local held = redis.call('GET', KEYS[2])
if held and held ~= ARGV[1] and alive(held) then
  local proof = string.match(held, '^[^|]*|([^|]*)|')
  if ARGV[2] == '' or proof ~= ARGV[2] then
    return {0, held, redis.call('PTTL', host_of(held))}
  end
end
local token = redis.call('INCR', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1])
return {
  token,
  ARGV[1],
  redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', ARGV[3]),
  redis.call('XRANGE', KEYS[5], '-', '+', 'COUNT', ARGV[4]),
  redis.call('ZRANGE', KEYS[6], 0, -1, 'WITHSCORES'),
}
