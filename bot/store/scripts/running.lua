-- Goes in front of scripts that begin or end turns. Each life of a host has a set of the turns that
-- run in it. When the host ends, the set stays as it was, and tells which turns met that end.
local function running_in(life) return 'hosts:running:' .. life end
local function stop_running(open)
  local life = redis.call('HGET', open, 'life')
  if life then redis.call('ZREM', running_in(life), open) end
end
-- The open turn goes, if it is the one of this entry.
local function delete_turn(open, entry)
  if redis.call('HGET', open, 'entry') ~= entry then return end
  stop_running(open)
  redis.call('DEL', open)
end
