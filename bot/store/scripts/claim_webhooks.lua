-- Claim webhooks of tasks that are due: whoever claims one sends it before the claim ends.
-- KEYS: webhooks:due
-- ARGV: how long a claim holds (ms), how many at most
-- Returns of each: the task's line, and how often its webhook was claimed, this time included.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for _, line in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local session = '{' .. line .. '}:session'
  if redis.call('EXISTS', session) == 1 then
    redis.call('ZADD', KEYS[1], now + ARGV[1], line)
    found[#found + 1] = {line, redis.call('HINCRBY', session, 'tries', 1)}
  else -- the task is not kept any more
    redis.call('ZREM', KEYS[1], line)
  end
end
return found
