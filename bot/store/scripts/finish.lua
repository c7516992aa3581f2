-- Record the reply and post its parts: the turn is sending, or done where there are none.
-- KEYS: fence, open, log, outbox, inbox
-- ARGV: token, entry, ordinal, number of records, kind and body of each, then parts
-- Returns the id of the newest record, then the outbox ids (none if this was done before).
local function newest()
  local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  return last and last[1] or ''
end
local turn = redis.call('HMGET', KEYS[2], 'entry', 'writes', 'life')
if turn[1] ~= ARGV[2] then
  -- Done before and sent by now, while the store's answer was lost.
  if #redis.call('XRANGE', KEYS[5], ARGV[2], ARGV[2]) == 0 then return {newest()} end
  return redis.error_reply('CLOSED ' .. KEYS[2])
end
if tonumber(turn[2]) >= tonumber(ARGV[3]) then return {newest()} end
local after = 4 + tonumber(ARGV[4]) * 2
for i = 5, after, 2 do check_record(ARGV[i], ARGV[i + 1]) end
for i = 5, after, 2 do
  note(KEYS[3], ARGV[i], ARGV[i + 1])
end
local ids = {newest()}
for i = after + 1, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[4], '*', 'p', ARGV[i])
end
if turn[3] then redis.call('ZREM', running_in(turn[3]), KEYS[2]) end
if #ids == 1 then
  redis.call('DEL', KEYS[2])
  redis.call('XDEL', KEYS[5], ARGV[2])
else
  redis.call('HSET', KEYS[2], 'state', 'sending', 'writes', ARGV[3], 'left', #ids - 1)
end
return ids
