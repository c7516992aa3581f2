-- A message shows a sheet. After a crash it may be shown twice, after a move in another chat.
-- Returns 2 where the sheet is not as it was asked any more, so that the message is out of date.
-- KEYS: fence, approval   ARGV: token, `<chat>:<message>`
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local held = redis.call('HGET', KEYS[2], 'm')
redis.call('HSET', KEYS[2], 'm', held and (held .. ',' .. ARGV[2]) or ARGV[2])
if redis.call('HGET', KEYS[2], 'v') ~= '1' then return 2 end
return 1
