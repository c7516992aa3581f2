-- Reserve a cost in every scope, or in none; an earlier reservation of the same name is released.
-- KEYS: fence
-- ARGV: token, hold, tokens, micros, lifetime (ms), then of each scope: its name, and its limits in
--   tokens and micros (-1: none)
-- Returns 0, or the number of the scope that has too little left.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function enough(used, held, more, most)
  return most < 0 or tonumber(used or 0) + tonumber(held or 0) + more <= most
end
for i = 6, #ARGV, 3 do check_scope(ARGV[i]) end
for i = 6, #ARGV, 3 do
  local ends = 'budget:' .. ARGV[i] .. ':ends'
  free(ARGV[i], ARGV[2])
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now)) do free(ARGV[i], name) end
end
for i = 6, #ARGV, 3 do
  local has = redis.call('HMGET', 'budget:' .. ARGV[i], 'tokens', 'micros', 'heldTokens', 'heldMicros')
  if not enough(has[1], has[3], tonumber(ARGV[3]), tonumber(ARGV[i + 1])) or
     not enough(has[2], has[4], tonumber(ARGV[4]), tonumber(ARGV[i + 2])) then
    return (i - 3) / 3
  end
end
for i = 6, #ARGV, 3 do
  local key = 'budget:' .. ARGV[i]
  redis.call('HINCRBY', key, 'heldTokens', ARGV[3])
  redis.call('HINCRBY', key, 'heldMicros', ARGV[4])
  redis.call('HSET', key .. ':held', ARGV[2], ARGV[3] .. ':' .. ARGV[4])
  redis.call('ZADD', key .. ':ends', now + ARGV[5], ARGV[2])
  for _, one in ipairs({key, key .. ':held', key .. ':ends'}) do
    redis.call('EXPIRE', one, DAYS_KEPT)
  end
end
return 0
