-- Log records of a running turn, once for each ordinal. A life that records something is no failed try.
-- KEYS: fence, open, log   ARGV: token, entry, ordinal, then kind and body of each
-- Returns the id of the newest record.
if redis.call('HGET', KEYS[2], 'entry') ~= ARGV[2] then
  return redis.error_reply('CLOSED ' .. KEYS[2])
end
if tonumber(redis.call('HGET', KEYS[2], 'writes')) >= tonumber(ARGV[3]) then
  return redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1][1]
end
local last
for i = 4, #ARGV, 2 do
  last = note(KEYS[3], ARGV[i], ARGV[i + 1]) or last
end
redis.call('HSET', KEYS[2], 'writes', ARGV[3], 'tries', 0)
return last
