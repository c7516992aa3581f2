-- Make a person admin who knows the code. Needs no fence: the code works once.
-- KEYS: claim code, grants, their version, this change, audit
-- ARGV: digest of the code, subject, grant, seconds to remember, then the audit's fields
-- Returns 1, also where this was done before; 0 where the code is another or was used.
if redis.call('EXISTS', KEYS[4]) == 1 then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('SET', KEYS[4], '', 'EX', ARGV[4])
role_changed(KEYS[3], KEYS[5], {unpack(ARGV, 5)})
return 1
