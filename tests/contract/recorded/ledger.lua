-- Everything that changes a running restore changes here, in one script: all or nothing.
-- Every verb may be sent twice (the client retries when an answer is lost) and does its work once.
--
-- KEYS, as in the key map of ledger.py
local RECORD, PROGRESS, PARENTS, NODES, WORK, FRAGMENTS, OWNERS, MADE, EVENTS = unpack(KEYS, 1, 9)
-- KEYS[10] and KEYS[11] are the stack's: stack_ledger.lua writes them; they live as long as the others.
local STACK, OWN_KEYS, DUE, FOLLOWED = KEYS[10], 11, KEYS[12], KEYS[13]
-- ARGV: verb, restore id, seconds until a look at what was sent, then the verb's own arguments, five at most
-- but for settle's fragments: those may be more than Lua's stack takes, and are read from ARGV.
local LAST_ARGUMENT, FIRST_FRAGMENT = 8, 8
local VERB, ID, PATIENCE = ARGV[1], ARGV[2], tonumber(ARGV[3])
local SETTLED = { done = true, failed = true, skipped = true }
local FINAL = { complete = true, failed = true, cancelled = true, destroyed = true, forgotten = true }
-- Heat works on the stack.
local AT_HEAT = { creating = true, destroying = true, forgetting = true }

local clock = redis.call('TIME')
local NOW = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

local function read(index, ...)
  local fields = {}
  for i, name in ipairs({ ... }) do fields[i] = index .. '.' .. name end
  return unpack(redis.call('HMGET', PROGRESS, unpack(fields)))
end

local function write(index, ...)
  local pairs_ = { ... }
  for i = 1, #pairs_, 2 do pairs_[i] = index .. '.' .. pairs_[i] end
  redis.call('HSET', PROGRESS, unpack(pairs_))
end

local function forget(index, ...)
  local fields = {}
  for i, name in ipairs({ ... }) do fields[i] = index .. '.' .. name end
  redis.call('HDEL', PROGRESS, unpack(fields))
end

local function event(name, index, ...)
  redis.call('XADD', EVENTS, '*', 'event', name, 'resource', index, ...)
end

local function look_at(index, when)
  redis.call('ZADD', DUE, when, ID .. '/' .. index)
end

local function look_no_more(index)
  redis.call('ZREM', DUE, ID .. '/' .. index)
end

-- The restore's own next step was sent.
local function look_at_restore()
  forget('', 'looks')
  look_at('', NOW + PATIENCE)
end

local function release(index)
  write(index, 'state', 'ready')
  look_at(index, NOW + PATIENCE)
end

-- A list of index, node, index, node, ... of what is to be sent.
local function nodes(indices)
  local found = {}
  for _, index in ipairs(indices) do
    found[#found + 1] = index
    found[#found + 1] = redis.call('HGET', NODES, index)
  end
  return found
end

-- A resource as people know it.
local function named(index)
  local node = cjson.decode(redis.call('HGET', NODES, index))
  return node[1] .. (node[3] == '' and '' or ' ' .. node[3]) .. ' (' .. node[2] .. ')'
end

local function parents_of(index)
  return string.gmatch(redis.call('HGET', PARENTS, index) or '', '%d+')
end

-- The resource's end: counts down what its parents need, and returns those that need nothing any more.
local function finish(index, state, reason)
  local cause = read(index, 'cause')
  if state == 'failed' then cause = index end
  write(index, 'state', state, 'reason', reason, 'ended', NOW)
  forget(index, 'token', 'until')
  look_no_more(index)
  if state ~= 'done' then redis.call('HINCRBY', RECORD, 'failed', 1) end
  event(state, index, 'reason', reason)
  local released = {}
  for parent in parents_of(index) do
    if state ~= 'done' then redis.call('HSETNX', PROGRESS, parent .. '.cause', cause) end
    if redis.call('HINCRBY', PROGRESS, parent .. '.needs', -1) == 0 then
      release(parent)
      released[#released + 1] = parent
    end
  end
  if redis.call('HINCRBY', RECORD, 'left', -1) == 0 then look_at_restore() end
  return nodes(released)
end

-- For a late copy of a settled task: only those parents that are still to be taken up. After a resume, preflight
-- declares the chord's size before anything is sent into it.
local function still_ready(index)
  local found = {}
  if redis.call('HGET', RECORD, 'state') ~= 'restoring' then return found end
  for parent in parents_of(index) do
    if read(parent, 'state') == 'ready' then found[#found + 1] = parent end
  end
  return nodes(found)
end

local verbs = {}

-- index, token, seconds of the lease, greatest number of attempts, worker
function verbs.claim(index, token, lease, most, worker)
  local state, holder, due, attempts, cause = read(index, 'state', 'token', 'until', 'attempts', 'cause')
  if not state then return { 'gone' } end
  if SETTLED[state] then return { 'settled', still_ready(index) } end
  local restore, checkpoint, bank, cloud, identity, epoch =
    unpack(redis.call('HMGET', RECORD, 'state', 'checkpoint', 'bank', 'cloud', 'identity', 'epoch'))
  if restore ~= 'restoring' or state == 'planned' then return { 'idle' } end
  attempts = tonumber(attempts or '0')
  if holder ~= token then
    if due and tonumber(due) > NOW then
      return { 'held', tostring(tonumber(due) - NOW) }
    end
    if cause then
      return { 'settled', finish(index, 'skipped', 'needs ' .. named(cause) .. ', which was not restored') }
    end
    if attempts >= tonumber(most) then
      local last = read(index, 'reason') or ''
      if last == '' then last = 'the worker that held it vanished each time' end
      return { 'settled', finish(index, 'failed', 'given up after ' .. attempts .. ' attempts: ' .. last) }
    end
    attempts = attempts + 1
    local ends = NOW + tonumber(lease)
    write(index, 'state', 'running', 'token', token, 'until', ends, 'attempts', attempts, 'worker', worker)
    -- A copy of the message of what waits or ran may be in a worker's memory: its count stands.
    if state == 'ready' then forget(index, 'looks') end
    redis.call('HSETNX', PROGRESS, index .. '.started', NOW)
    look_at(index, ends + 1)
    -- Something that is built for hours is looked at every few seconds: that is no news each time.
    if read(index, 'told') ~= attempts .. ' ' .. worker then
      write(index, 'told', attempts .. ' ' .. worker)
      event('running', index, 'attempt', attempts, 'worker', worker)
    end
  end
  return { 'claimed', tostring(attempts), redis.call('HGET', NODES, index), redis.call('HGET', WORK, index),
    checkpoint, bank, cloud, identity, epoch }
end

-- index, token, seconds of the lease; 1 if the lease is still the token's
function verbs.renew(index, token, lease)
  local state, holder = read(index, 'state', 'token')
  if state ~= 'running' or holder ~= token then return 0 end
  local ends = NOW + tonumber(lease)
  write(index, 'until', ends)
  look_at(index, ends + 1)
  return 1
end

-- index, token, seconds, reason, 1 if the attempt counts; 1 if the lease was still the token's
function verbs.wait(index, token, seconds, reason, counts)
  local state, holder, attempts, known = read(index, 'state', 'token', 'attempts', 'reason')
  if state ~= 'running' or holder ~= token then return 0 end
  local due = NOW + tonumber(seconds)
  if counts == '0' then attempts = attempts - 1 end
  write(index, 'state', 'waiting', 'until', due, 'reason', reason, 'attempts', attempts)
  forget(index, 'token')
  look_at(index, due + PATIENCE)
  if reason ~= known then event('waiting', index, 'reason', reason, 'seconds', seconds) end
  return 1
end

-- index, token, key, physical id ('' only asks whether the token may build); 1 if the lease is still the token's
function verbs.note_made(index, token, key, physical_id)
  local state, holder = read(index, 'state', 'token')
  if state ~= 'running' or holder ~= token then return 0 end
  if physical_id == '' then return redis.call('HGET', RECORD, 'state') == 'restoring' and 1 or 0 end
  if redis.call('HSET', MADE, index .. '/' .. key, physical_id) == 1 then
    event('made', index, 'key', key, 'physical_id', physical_id)
    -- A restore that was stopped meanwhile is to be forgotten some day.
    local rest = redis.call('TTL', RECORD)
    if rest > 0 then redis.call('EXPIRE', MADE, rest) end
  end
  return 1
end

-- index, token, key; 1 if the lease is still the token's
function verbs.note_gone(index, token, key)
  local state, holder = read(index, 'state', 'token')
  if state ~= 'running' or holder ~= token then return 0 end
  if redis.call('HDEL', MADE, index .. '/' .. key) == 1 then event('gone', index, 'key', key) end
  return 1
end

-- index, key: what was built directly and is deleted now
function verbs.discarded(index, key)
  if redis.call('HGET', RECORD, 'state') ~= 'discarding' then return 0 end
  if redis.call('HDEL', MADE, index .. '/' .. key) == 1 then event('gone', index, 'key', key) end
  return 1
end

-- which cloud it is to who asks; what it was to the first one
function verbs.identify(identity)
  local known = redis.call('HGET', RECORD, 'identity')
  if known ~= '' then return known or '' end
  redis.call('HSET', RECORD, 'identity', identity)
  return identity
end

-- index, token, outcome (done | failed), reason, then in ARGV original id and fragment in turn
function verbs.settle(index, token, outcome, reason)
  local state, holder = read(index, 'state', 'token')
  if not state then return { 'gone', {} } end
  if SETTLED[state] then return { 'settled', still_ready(index) } end
  if holder ~= token or redis.call('HGET', RECORD, 'state') ~= 'restoring' then return { 'stale', {} } end
  for i = FIRST_FRAGMENT, #ARGV, 2 do
    local owner = redis.call('HGET', OWNERS, ARGV[i])
    if owner and owner ~= index then
      reason = ARGV[i] .. ' was put into the template already, by ' .. named(owner)
      return { 'settled', finish(index, 'failed', reason) }
    end
  end
  for i = FIRST_FRAGMENT, #ARGV, 2 do
    redis.call('HSET', FRAGMENTS, ARGV[i], ARGV[i + 1])
    redis.call('HSET', OWNERS, ARGV[i], index)
  end
  return { 'settled', finish(index, outcome, reason) }
end

-- What can start at once and has not; takes the restore from checking to restoring.
function verbs.begin()
  local state, leaves = unpack(redis.call('HMGET', RECORD, 'state', 'leaves'))
  if state ~= 'checking' and state ~= 'restoring' then return { 'idle', {} } end
  if state == 'checking' then
    redis.call('HSET', RECORD, 'state', 'restoring', 'updated', NOW, 'reason', '')
    event('restoring', '')
    look_no_more('')
    if redis.call('HGET', RECORD, 'left') == '0' then look_at_restore() end
  end
  local ready = {}
  for index in string.gmatch(leaves, '%d+') do
    if read(index, 'state') == 'ready' then
      look_at(index, NOW + PATIENCE)
      ready[#ready + 1] = index
    end
  end
  return { 'restoring', nodes(ready) }
end

-- state expected, new state, reason, days to keep what is finished, template as JSON if there is one now
-- 1 if it was so, and for assembling if nothing is left to restore
function verbs.move(from, to, reason, keep, hot)
  local state, left = unpack(redis.call('HMGET', RECORD, 'state', 'left'))
  if state ~= from or (to == 'assembling' and left ~= '0') then return 0 end
  redis.call('HSET', RECORD, 'state', to, 'updated', NOW, 'reason', reason)
  if hot then redis.call('HSET', RECORD, 'hot', hot) end
  if to == 'discarding' then redis.call('HSET', RECORD, 'discarded', 1) end
  event(to, '', 'reason', reason)
  -- Who cancels a creation wants it stopped at Heat's, too.
  if AT_HEAT[to] or (from == 'creating' and to == 'cancelled') then
    redis.call('SADD', FOLLOWED, ID)
  else
    redis.call('SREM', FOLLOWED, ID)
  end
  if FINAL[to] then
    look_no_more('')
    for i = 1, OWN_KEYS do redis.call('EXPIRE', KEYS[i], math.floor(tonumber(keep) * 86400)) end
  else
    for i = 1, OWN_KEYS do redis.call('PERSIST', KEYS[i]) end
    look_at_restore()
  end
  return 1
end

-- From failed or cancelled to pending: a new epoch over what is not done. Number of the epoch, or 0.
function verbs.resume()
  local state, size = unpack(redis.call('HMGET', RECORD, 'state', 'size'))
  if state ~= 'failed' and state ~= 'cancelled' then return 0 end
  -- What is done cannot be gone on from when it was deleted.
  if redis.call('HEXISTS', RECORD, 'discarded') == 1 then return 0 end
  for i = 1, OWN_KEYS do redis.call('PERSIST', KEYS[i]) end
  redis.call('SREM', FOLLOWED, ID)
  local open, needs, leaves = {}, {}, {}
  for index = 0, size - 1 do
    if read(index, 'state') ~= 'done' then
      open[#open + 1] = index
      for parent in parents_of(index) do needs[parent] = (needs[parent] or 0) + 1 end
    end
  end
  for _, index in ipairs(open) do
    local needed = needs[tostring(index)] or 0
    -- A worker that holds it may be making something just now: the next one comes when it would find that.
    if read(index, 'state') ~= 'running' then forget(index, 'until') end
    forget(index, 'token', 'cause', 'ended', 'reason', 'attempts', 'looks', 'told')
    look_no_more(index)
    write(index, 'needs', needed, 'state', needed == 0 and 'ready' or 'planned')
    if needed == 0 then leaves[#leaves + 1] = index end
  end
  redis.call('HSET', RECORD, 'state', 'pending', 'left', #open, 'failed', 0, 'reason', '', 'updated', NOW,
    'leaves', table.concat(leaves, ','))
  event('pending', '', 'reason', 'resumed')
  look_at_restore()
  return redis.call('HINCRBY', RECORD, 'epoch', 1)
end

-- index ('' for the restore itself), queues that have messages: what is to be sent again now, if it is overdue
function verbs.look(index, busy)
  local member = ID .. '/' .. index
  local due = redis.call('ZSCORE', DUE, member)
  if not due or tonumber(due) > NOW then return { 'later', {} } end
  local restore, left = unpack(redis.call('HMGET', RECORD, 'state', 'left'))
  if not restore or FINAL[restore] then
    look_no_more(index)
    return { 'over', {} }
  end
  local looks = redis.call('HINCRBY', PROGRESS, index .. '.looks', 1)
  look_at(index, NOW + PATIENCE * 2 ^ math.min(looks, 6))
  if index ~= '' then
    local state = read(index, 'state')
    if restore ~= 'restoring' or SETTLED[state] or state == 'planned' then
      look_no_more(index)
      return { 'over', {} }
    end
    local node = redis.call('HGET', NODES, index)
    -- Its message may well be one of those: that is backlog, not loss, unless it goes on for too long.
    if state == 'ready' and looks <= 3 and string.find(busy, ',' .. cjson.decode(node)[4] .. ',', 1, true) then
      return { 'later', {} }
    end
    event('resent', index, 'reason', state .. ' for too long')
    return { 'resource', { index, node } }
  end
  if restore == 'restoring' and left ~= '0' then
    look_no_more(index)
    return { 'over', {} }
  end
  -- What Heat works on is the poller's, which asks for all but the creation itself.
  local asked = redis.call('HGET', STACK, 'asked') == redis.call('HGET', RECORD, 'updated')
  if AT_HEAT[restore] and (restore ~= 'creating' or asked) then return { 'later', {} } end
  event('resent', '', 'reason', restore .. ' for too long')
  return { restore, {} }
end

return verbs[VERB](unpack(ARGV, 4, math.min(#ARGV, LAST_ARGUMENT)))
