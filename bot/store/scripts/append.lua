-- Record something of a running turn, once for each ordinal. An attempt that records something is no
-- failed one. Lines for the ledger alone are no progress, but leave no attempt unrecorded. No record
-- at all: the model is about to be asked again.
-- KEYS: fence, open, log   ARGV: token, entry, ordinal, then kind and body of each record
-- Returns the id of the newest record, '' where only the ledger grew.
if redis.call('HGET', KEYS[2], 'entry') ~= ARGV[2] then
  return redis.error_reply('CLOSED ' .. KEYS[2])
end
if tonumber(redis.call('HGET', KEYS[2], 'writes')) >= tonumber(ARGV[3]) then
  local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  return newest and newest[1] or ''
end
for i = 4, #ARGV, 2 do check_record(ARGV[i], ARGV[i + 1]) end
local last
for i = 4, #ARGV, 2 do
  last = note(KEYS[3], ARGV[i], ARGV[i + 1]) or last
end
redis.call('HSET', KEYS[2], 'writes', ARGV[3])
if #ARGV == 3 then
  redis.call('HINCRBY', KEYS[2], 'dark', 1)
else
  redis.call('HSET', KEYS[2], 'dark', last and 1 or 0)
end
if last then
  redis.call('HSET', KEYS[2], 'tries', 0)
  redis.call('HDEL', KEYS[2], 'hits', 'hit')
end
return last or ''
