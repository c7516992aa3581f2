-- Move an entry to the dead letters, end its open turn, and post what the person is told.
-- KEYS: fence, inbox, outbox, dead, open   ARGV: token, entry, why, at, then parts
-- Returns the outbox ids, or nothing if this was done before.
local found = redis.call('XRANGE', KEYS[2], ARGV[2], ARGV[2])
local ids = {}
if #found == 0 then return ids end
local fields = found[1][2]
fields[#fields + 1] = 'w'
fields[#fields + 1] = ARGV[3]
fields[#fields + 1] = 'a'
fields[#fields + 1] = ARGV[4]
fields[#fields + 1] = 'e'
fields[#fields + 1] = ARGV[2]
redis.call('XADD', KEYS[4], '*', unpack(fields))
redis.call('XDEL', KEYS[2], ARGV[2])
delete_turn(KEYS[5], ARGV[2])
for i = 5, #ARGV do
  ids[#ids + 1] = redis.call('XADD', KEYS[3], '*', 'p', ARGV[i])
end
return ids
