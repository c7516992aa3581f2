-- Set a cost aside in every scope, or in none.
-- KEYS: fence, then budget and its held sums of each scope
-- ARGV: token, hold, tokens, micros, now (ms), until (ms), then tokens and micros at most (-1: any)
-- Returns 0, or the number of the scope that has not enough.
local function enough(used, held, most)
  return most < 0 or used + held <= most
end
for i = 2, #KEYS, 2 do
  local tokens, micros = tonumber(ARGV[3]), tonumber(ARGV[4])
  local all = redis.call('HGETALL', KEYS[i + 1])
  for n = 1, #all, 2 do
    local t, m, till = string.match(all[n + 1], '^(%d+):(%d+):(%d+)$')
    if tonumber(till) < tonumber(ARGV[5]) then
      redis.call('HDEL', KEYS[i + 1], all[n])
    elseif all[n] ~= ARGV[2] then
      tokens, micros = tokens + tonumber(t), micros + tonumber(m)
    end
  end
  local used = redis.call('HMGET', KEYS[i], 'tokens', 'micros')
  if not enough(tonumber(used[1] or 0), tokens, tonumber(ARGV[i + 5])) or
     not enough(tonumber(used[2] or 0), micros, tonumber(ARGV[i + 6])) then
    return i / 2
  end
end
for i = 2, #KEYS, 2 do
  redis.call('HSET', KEYS[i + 1], ARGV[2], ARGV[3] .. ':' .. ARGV[4] .. ':' .. ARGV[6])
  redis.call('EXPIRE', KEYS[i + 1], 259200)
end
return 0
