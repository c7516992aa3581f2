-- Put a dead letter back where it came from, as if it had just arrived: an update into its line's
-- inbox, a part that was refused into the outbox.
-- KEYS: dead, inbox, outbox, lines:stirred, lines:stirs   ARGV: letter
-- Returns its new id, or '' where there is no such letter.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return '' end
local fields, id = {}, ''
for i = 1, #found[1][2], 2 do fields[found[1][2][i]] = found[1][2][i + 1] end
if fields['p'] then
  id = redis.call('XADD', KEYS[3], '*', 'p', fields['p'], 'f', '0')
else
  id = redis.call('XADD', KEYS[2], '*', 'u', fields['u'], 'r', fields['r'])
end
redis.call('XDEL', KEYS[1], ARGV[1])
notify(KEYS[2], KEYS[4], KEYS[5])
return id
