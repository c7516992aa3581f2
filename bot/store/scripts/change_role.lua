-- Give a role, or take it away; this answers an open request of the subject. Needs no fence: it is
-- done once for its key, and of two answers to one request the first counts.
-- KEYS: grants, their version, request of the subject, open requests, this change, audit
-- ARGV: subject, grant or '' to take it away, nonce of the request that is answered or '', role,
--   name of who answers, seconds to remember, then the audit's fields
-- Returns {'done', nonce of the request that was closed or ''}; {'late'}; {'absent'}.
local made = redis.call('GET', KEYS[5])
if made then return {'done', made} end
local nonce = ARGV[3]
if nonce ~= '' then
  local role = redis.call('HGET', 'access:request:' .. nonce, 'role')
  if not role then return {'absent'} end
  if role ~= '' then return {'late', nonce} end
else
  nonce = redis.call('GET', KEYS[3]) or ''
end
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
elseif redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then
  return {'absent'}
end
local request = 'access:request:' .. nonce
if ARGV[2] ~= '' and redis.call('EXISTS', request) == 1 then
  redis.call('HSET', request, 'role', ARGV[4], 'by', ARGV[5])
  redis.call('EXPIRE', request, ARGV[6])
  redis.call('DEL', KEYS[3])
  redis.call('ZREM', KEYS[4], nonce)
else
  nonce = ''
end
redis.call('SET', KEYS[5], nonce, 'EX', ARGV[6])
role_changed(KEYS[2], KEYS[6], {unpack(ARGV, 7)})
return {'done', nonce}
