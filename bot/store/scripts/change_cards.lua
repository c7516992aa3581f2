-- Note that an approval request has changed: it gets no new card, and one that is being sent now is
-- out of date. Returns what is known of its cards.
-- KEYS: cards
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
redis.call('HSET', KEYS[1], 'role', 'changed')
return redis.call('HGETALL', KEYS[1])
