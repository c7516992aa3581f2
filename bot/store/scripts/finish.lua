-- The reply is recorded and its parts are in the outbox: the turn is sending.
-- KEYS: fence, open, log, outbox
-- ARGV: token, entry, ordinal, number of records, kind and body of each, then parts
-- Returns the id of the newest record, then the outbox ids (none if this was done before).
if redis.call('HGET', KEYS[2], 'entry') ~= ARGV[2] then
  return redis.error_reply('CLOSED ' .. KEYS[2])
end
local ids = {}
if tonumber(redis.call('HGET', KEYS[2], 'writes')) >= tonumber(ARGV[3]) then
  return {redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1][1]}
end
local after = 4 + tonumber(ARGV[4]) * 2
for i = 5, after, 2 do
  ids[1] = redis.call('XADD', KEYS[3], '*', 'k', ARGV[i], 'b', ARGV[i + 1])
end
for i = after + 1, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[4], '*', 'p', ARGV[i])
end
redis.call('HSET', KEYS[2], 'state', 'sending', 'writes', ARGV[3], 'left', #ids - 1)
return ids
