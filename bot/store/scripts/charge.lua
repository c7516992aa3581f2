-- Write records of the ledger for what belongs to no open turn, once for its name.
-- KEYS: fence, seen   ARGV: token, name, then kind and body of each record
for i = 3, #ARGV, 2 do check_record(ARGV[i], ARGV[i + 1]) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('ZADD', KEYS[2], 'NX', now, ARGV[2]) == 0 then return 0 end
for i = 3, #ARGV, 2 do note('', ARGV[i], ARGV[i + 1]) end
return 1
