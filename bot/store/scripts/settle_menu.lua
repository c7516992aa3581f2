-- Remove an entry that is done, post its parts, and keep what its menus and the person's form are
-- now. A menu or a form without a value is forgotten.
-- KEYS: fence, inbox, outbox, forms, then menus
-- ARGV: token, entry, seconds that a menu is kept, name and value of the form, number of menus,
-- their values, then parts
-- Returns the outbox ids, or nothing if this was done before.
local ids = {}
if redis.call('XDEL', KEYS[2], ARGV[2]) == 0 then return ids end
if ARGV[4] ~= '' then
  if ARGV[5] == '' then redis.call('HDEL', KEYS[4], ARGV[4])
  else redis.call('HSET', KEYS[4], ARGV[4], ARGV[5]) end
end
local count = tonumber(ARGV[6])
for i = 1, count do
  if ARGV[6 + i] == '' then redis.call('DEL', KEYS[4 + i])
  else redis.call('SET', KEYS[4 + i], ARGV[6 + i], 'EX', ARGV[3]) end
end
for i = 7 + count, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[3], '*', 'p', ARGV[i])
end
return ids
