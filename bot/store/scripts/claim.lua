-- Use up the claim code. Needs no fence: the code works once.
-- KEYS: claim code, that this message used it   ARGV: digest of the code, seconds to remember
-- Returns 1, also where this message used it before; 0 where the code is another or was used.
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], '', 'EX', ARGV[2])
return 1
