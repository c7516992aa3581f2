-- Record what an admin decides on a request. Needs no fence: of two presses the first counts. The
-- document of the subject is written afterwards; until then the subject keeps this request.
-- KEYS: request, open requests, document of the subject
-- ARGV: nonce, level, name of who decides, key of the decision, seconds to remember, '1' where it
--   also takes the place of an earlier decision
-- Returns {'done', hash of the document that was there, or '-'}, also where this very decision was
-- recorded before; {'late'}; {'absent'}.
local level, key, over = unpack(redis.call('HMGET', KEYS[1], 'role', 'key', 'over'))
if not level then return {'absent'} end
if key == ARGV[4] then return {'done', over} end
if level ~= '' and ARGV[6] ~= '1' then return {'late'} end
local text = redis.call('GET', KEYS[3])
over = text and redis.sha1hex(text) or '-'
redis.call('HSET', KEYS[1], 'role', ARGV[2], 'by', ARGV[3], 'key', ARGV[4], 'over', over)
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('ZREM', KEYS[2], ARGV[1])
return {'done', over}
