-- Goes in front of scripts that remove a part from the outbox; the last part of a turn ends it.
-- False where it was removed before.
local function end_part(outbox, part, failing, open, inbox, entry)
  if redis.call('XDEL', outbox, part) == 0 then return false end
  redis.call('HDEL', failing, part)
  if open and redis.call('HGET', open, 'entry') == entry then
    if redis.call('HINCRBY', open, 'left', -1) <= 0 then
      redis.call('DEL', open)
      redis.call('XDEL', inbox, entry)
    end
  end
  return true
end
