-- Put a dead letter back into its line's inbox, as if it had just arrived.
-- KEYS: dead, inbox, lines:stirred, lines:stirs   ARGV: letter
-- Returns the inbox id, or '' where there is no such letter.
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #found == 0 then return '' end
local fields = {}
for i = 1, #found[1][2], 2 do fields[found[1][2][i]] = found[1][2][i + 1] end
local id = redis.call('XADD', KEYS[2], '*', 'u', fields['u'], 'r', fields['r'])
redis.call('XDEL', KEYS[1], ARGV[1])
notify(KEYS[2], KEYS[3], KEYS[4])
return id
