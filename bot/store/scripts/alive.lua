-- Goes in front of scripts that read leases. A lease holds while the host that it names is alive.
local function host_of(holder)
  return 'host:' .. (string.match(holder, '^[^|]*|[^|]*|([^|]*)') or '')
end
local function alive(holder)
  return redis.call('EXISTS', host_of(holder)) == 1
end
