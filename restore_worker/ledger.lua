-- Everything that changes a running restore changes here, in one script: all or nothing.
-- Every verb may be sent twice (the client retries when an answer is lost) and does its work once.
--
-- KEYS, as in the key map of ledger.py
local RECORD, PROGRESS, PARENTS, NODES, WORK, FRAGMENTS, OWNERS, MADE, EVENTS = unpack(KEYS, 1, 9)
-- KEYS[10] and KEYS[11] are the stack's: stack_ledger.lua writes them; they live as long as the others.
local STACK, OWN_KEYS, DUE, FOLLOWED, RESTORES, NEWS = KEYS[10], 11, KEYS[12], KEYS[13], KEYS[14], KEYS[15]
-- ARGV: verb, restore id, seconds until a look at what was sent, how many messages are in a queue at most, then the
-- verb's own arguments, six at most but for settle's fragments: those may be more than Lua's stack takes, and are read
-- from ARGV.
local FIRST_ARGUMENT, LAST_ARGUMENT, FIRST_FRAGMENT = 5, 10, 9
local VERB, ID, PATIENCE, SHARE = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
-- What stands in line goes on with what was sent: there may be ten thousand, and looks at them keep others waiting.
local PATIENCE_IN_LINE = 8 * PATIENCE
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

-- A node is asked for several times.
local node_by_index = {}

local function node_of(index)
  local place = tostring(index)
  node_by_index[place] = node_by_index[place] or redis.call('HGET', NODES, place)
  return node_by_index[place]
end

-- What happens, for the log: lists of an event's name, the node ('' if it is the restore's), and what belongs to it.
local told = {}

local function event(name, index, ...)
  redis.call('XADD', EVENTS, '*', 'event', name, 'resource', index, ...)
  local words = { name, index == '' and '' or node_of(index) }
  for i, word in ipairs({ ... }) do words[2 + i] = tostring(word) end
  told[#told + 1] = words
end

local function look_at(index, when)
  redis.call('ZADD', DUE, when, ID .. '/' .. index)
end

local function look_no_more(index)
  redis.call('ZREM', DUE, ID .. '/' .. index)
end

-- What is known of the restore's own step ends with it: who holds it, and how often it was tried.
local function end_step()
  forget('', 'state', 'token', 'until', 'attempts', 'worker', 'reason', 'looks')
  look_no_more('')
end

-- The restore's own next step was sent.
local function look_at_restore()
  end_step()
  look_at('', NOW + PATIENCE)
end

-- Whoever wants to hear of restores is told.
local function tell(what)
  redis.call('ZADD', NEWS, NOW, ID .. '/' .. what .. '/' .. NOW)
end

-- What is sent again and again is looked at ever more rarely, and that is news once an epoch.
local function resent(index, state)
  local looks = redis.call('HINCRBY', PROGRESS, index .. '.looks', 1)
  if looks == 3 then
    local stuck, epoch = unpack(redis.call('HMGET', RECORD, 'stuck', 'epoch'))
    redis.call('HSET', RECORD, 'stuck', epoch)
    if stuck ~= epoch then tell('stuck') end
  end
  look_at(index, NOW + PATIENCE * 2 ^ math.min(looks - 1, 6))
  event('resent', index, 'reason', state .. ' for too long')
end

-- Resources are ready, SHARE of them at most; whether their messages are sent now.
local function set_ready(indices, sent)
  if not indices[1] then return end
  local fields, looks, before = {}, {}, {}
  local when = NOW + (sent and PATIENCE or PATIENCE_IN_LINE)
  for i, index in ipairs(indices) do
    fields[#fields + 1], fields[#fields + 2] = index .. '.state', 'ready'
    if sent then fields[#fields + 1], fields[#fields + 2] = index .. '.sent', NOW end
    looks[#looks + 1], looks[#looks + 2] = when, ID .. '/' .. index
    before[i] = index .. '.sent'
  end
  redis.call('HSET', PROGRESS, unpack(fields))
  -- An earlier version, which resumed the restore, leaves that it was sent before.
  if not sent then redis.call('HDEL', PROGRESS, unpack(before)) end
  redis.call('ZADD', DUE, unpack(looks))
end

-- Of a list like '3,5,8', SHARE indices at most: each with its state, and when it was sent.
local function known_of(indices)
  local found, fields = {}, {}
  for index in string.gmatch(indices or '', '%d+') do
    found[#found + 1] = { index = index }
    fields[#fields + 1], fields[#fields + 2] = index .. '.state', index .. '.sent'
  end
  local known = found[1] and redis.call('HMGET', PROGRESS, unpack(fields))
  for i, each in ipairs(found) do each.state, each.sent = known[2 * i - 1], known[2 * i] end
  return found
end

-- Those of such a list that were sent and are still to be taken up.
local function still_sent(indices)
  local found = {}
  for _, each in ipairs(known_of(indices)) do
    if each.state == 'ready' and each.sent then found[#found + 1] = each.index end
  end
  return found
end

local function queue_of(index)
  return cjson.decode(node_of(index))[4]
end

-- Of a restore, few messages are in a queue at once, for others to have their turn: of those in QUEUE.sent. What is
-- ready beyond them stands in line, in lots, QUEUE.NUMBER from QUEUE.first to QUEUE.last, and is sent as those are
-- taken up, several at a time. All of it is looked at in time.
local function sent_into(queue, indices)
  write(queue, 'sent', table.concat(indices, ','))
end

local function line_up(queue, indices)
  local first, last = read(queue, 'first', 'last')
  last = tonumber(last or '0')
  for from = 1, #indices, SHARE do
    local lot = { unpack(indices, from, math.min(from + SHARE - 1, #indices)) }
    last = last + 1
    write(queue, last, table.concat(lot, ','))
    set_ready(lot, false)
  end
  write(queue, 'first', first or 1, 'last', last)
end

-- Fills a queue up, in which are `sent`, and adds to them; a list of what is to be sent.
local function draw(queue, sent)
  local first, last = read(queue, 'first', 'last')
  local number, drawn, taken = tonumber(first or '1'), {}, {}
  last = tonumber(last or '0')
  while number <= last and #sent < SHARE do
    local left = {}
    for _, each in ipairs(known_of(read(queue, number))) do
      if #sent == SHARE then
        left[#left + 1] = each.index
      elseif each.state == 'ready' and not each.sent then
        sent[#sent + 1], drawn[#drawn + 1] = each.index, each.index
      elseif not each.sent and each.state ~= 'planned' then
        -- Taken up by a message of an earlier epoch: the chord of this one counts its own.
        taken[#taken + 1] = each.index
        write(each.index, 'sent', NOW)
      end
    end
    if left[1] then
      write(queue, number, table.concat(left, ','))
    else
      forget(queue, number)
      number = number + 1
    end
  end
  if number <= last then write(queue, 'first', number) else forget(queue, 'first', 'last') end
  set_ready(drawn, true)
  sent_into(queue, sent)
  for _, index in ipairs(taken) do drawn[#drawn + 1] = index end
  return drawn
end

-- A resource is taken up; a list of what is to be sent in its place.
local function take_up(index, queue)
  local first, before = read(queue, 'first', 'sent')
  local sent, there = {}, false
  for each in string.gmatch(before or '', '%d+') do
    if each == index then there = true else sent[#sent + 1] = each end
  end
  if not there then return {} end
  if first and #sent <= SHARE / 2 then return draw(queue, sent) end
  sent_into(queue, sent)
  return {}
end

-- Forgets who is in a queue and in line for it; all is ready or planned anew.
local function abandon(queue)
  local first, last = read(queue, 'first', 'last')
  for number = tonumber(first or '1'), tonumber(last or '0') do forget(queue, number) end
  forget(queue, 'first', 'last', 'sent')
end

-- Of what is ready now in a queue, a list of what is to be sent at once; the rest comes in its turn.
local function in_turn_of(queue, indices)
  local first, before = read(queue, 'first', 'sent')
  local sent, now, later = {}, {}, {}
  for index in string.gmatch(before or '', '%d+') do sent[#sent + 1] = index end
  for _, index in ipairs(indices) do
    if first or #sent >= SHARE then
      later[#later + 1] = index
    else
      sent[#sent + 1], now[#now + 1] = index, index
    end
  end
  if now[1] then
    set_ready(now, true)
    sent_into(queue, sent)
  end
  if later[1] then line_up(queue, later) end
  return now
end

local function in_turn(indices)
  local queues, by_queue, now = {}, {}, {}
  for _, index in ipairs(indices) do
    local queue = queue_of(index)
    if not by_queue[queue] then
      queues[#queues + 1], by_queue[queue] = queue, {}
    end
    table.insert(by_queue[queue], index)
  end
  for _, queue in ipairs(queues) do
    for _, index in ipairs(in_turn_of(queue, by_queue[queue])) do now[#now + 1] = index end
  end
  return now
end

-- A list of index, node, index, node, ... of what is to be sent.
local function nodes(indices)
  local found = {}
  for _, index in ipairs(indices) do
    found[#found + 1] = index
    found[#found + 1] = node_of(index)
  end
  return found
end

-- A resource as people know it.
local function named(index)
  local node = cjson.decode(node_of(index))
  return node[1] .. (node[3] == '' and '' or ' ' .. node[3]) .. ' (' .. node[2] .. ')'
end

-- Who had taken a resource up before its restore was resumed, and may still be at it, holds it `late`: it may note what
-- it makes and nothing else, and the next one comes once it has let go, or its lease has ended.
local function holds(index, token)
  local state, holder, late = read(index, 'state', 'token', 'late')
  if state == 'running' then return holder == token, false end
  local open = state == 'ready' or state == 'planned'
  return open and late == token, open
end

local function parents_of(index)
  return string.gmatch(redis.call('HGET', PARENTS, index) or '', '%d+')
end

-- The resource's end: counts down what its parents need, and returns those that need nothing any more.
local function finish(index, state, reason)
  local cause = index
  if state == 'skipped' then cause = read(index, 'cause') end
  write(index, 'state', state, 'reason', reason, 'ended', NOW)
  forget(index, 'token', 'until', 'late')
  look_no_more(index)
  if state ~= 'done' then redis.call('HINCRBY', RECORD, 'failed', 1) end
  event(state, index, 'reason', reason)
  local released = {}
  for parent in parents_of(index) do
    if state ~= 'done' then redis.call('HSETNX', PROGRESS, parent .. '.cause', cause) end
    if redis.call('HINCRBY', PROGRESS, parent .. '.needs', -1) == 0 then
      released[#released + 1] = parent
    end
  end
  if redis.call('HINCRBY', RECORD, 'left', -1) == 0 then look_at_restore() end
  return in_turn(released)
end

-- What may be sent now that a resource has ended, and the epoch and the priority that it is sent with.
local function settled(epoch, priority, ...)
  local ready = {}
  for _, indices in ipairs({ ... }) do
    for _, index in ipairs(indices) do ready[#ready + 1] = index end
  end
  return { 'settled', nodes(ready), epoch, priority or '' }
end

-- For a late copy of a settled task, which drew these: only what was sent and is still to be taken up, of parents, too.
-- After a resume, preflight declares the chord's size before anything is sent into it.
local function still_ready(index, drew)
  if redis.call('HGET', RECORD, 'state') ~= 'restoring' then return {} end
  local found = still_sent(drew)
  for parent in parents_of(index) do
    local state, sent = read(parent, 'state', 'sent')
    if state == 'ready' and sent then found[#found + 1] = parent end
  end
  return found
end

local function given_up(attempts, reason)
  if (reason or '') == '' then reason = 'the worker that held it vanished each time' end
  return 'given up after ' .. attempts .. ' attempts: ' .. reason
end

-- The place of what was built beside what is noted under the key.
local function one_too_many(index, key, physical_id)
  return index .. '/' .. key .. ' ' .. physical_id
end

local function tell_made(index, key, physical_id)
  event('made', index, 'key', key, 'physical_id', physical_id)
  -- A restore that was stopped meanwhile is to be forgotten some day.
  local rest = redis.call('PTTL', RECORD)
  if rest >= 0 then redis.call('PEXPIRE', MADE, rest) end
end

local verbs = {}

-- index, token, seconds of the lease, greatest number of attempts, worker, JSON of other such numbers by type
function verbs.claim(index, token, lease, most, worker, limits)
  local state, holder, due, attempts, cause, told_of, since, drew, started, looks, late =
    read(index, 'state', 'token', 'until', 'attempts', 'cause', 'told', 'since', 'drew', 'started', 'looks', 'late')
  if not state then return { 'gone' } end
  local restore, checkpoint, bank, cloud, identity, epoch, priority =
    unpack(redis.call('HMGET', RECORD, 'state', 'checkpoint', 'bank', 'cloud', 'identity', 'epoch', 'priority'))
  if SETTLED[state] then return settled(epoch, priority, still_ready(index, drew)) end
  if restore ~= 'restoring' or state == 'planned' then return { 'idle' } end
  attempts = tonumber(attempts or '0')
  local drawn = {}
  if holder == token then
    -- The answer was lost, and with it what it brought.
    drawn = still_sent(drew)
  else
    if due and tonumber(due) > NOW then
      return { 'held', tostring(tonumber(due) - NOW) }
    end
    local kind, _, _, queue = unpack(cjson.decode(node_of(index)))
    drawn = take_up(index, queue)
    if drawn[1] then
      -- More are only those that were taken up already.
      write(index, 'drew', table.concat(drawn, ',', 1, math.min(#drawn, SHARE)))
    elseif drew then
      forget(index, 'drew')
    end
    if cause then
      return settled(epoch, priority, drawn, finish(index, 'skipped', 'needs ' .. named(cause) .. ', which was not restored'))
    end
    if attempts >= tonumber(cjson.decode(limits)[kind] or most) then
      return settled(epoch, priority, drawn, finish(index, 'failed', given_up(attempts, read(index, 'reason'))))
    end
    attempts = attempts + 1
    local ends = NOW + tonumber(lease)
    -- Something that is built for hours is looked at every few seconds: that is no news each time.
    local news = attempts .. ' ' .. worker
    write(index, 'state', 'running', 'token', token, 'until', ends, 'attempts', attempts, 'worker', worker, 'told', news,
      'started', started or NOW)
    -- A copy of the message of what waits or ran may be in a worker's memory: its count stands.
    if state == 'ready' and (looks or late) then forget(index, 'looks', 'late') end
    -- Whoever held it may have been at it for hours, which is no waiting.
    if state == 'running' then
      forget(index, 'since')
      since = nil
    end
    look_at(index, ends + 1)
    if told_of ~= news then event('running', index, 'attempt', attempts, 'worker', worker) end
  end
  return { 'claimed', tostring(attempts), node_of(index), redis.call('HGET', WORK, index),
    checkpoint, bank, cloud, identity, epoch, tostring(NOW - tonumber(since or NOW)), nodes(drawn), priority or '' }
end

-- The restore's own step (its index is ''): state that it belongs to, token, seconds of the lease, greatest number
-- of attempts, worker, days to keep what is finished
function verbs.take(step, token, lease, most, worker, keep)
  if redis.call('HGET', RECORD, 'state') ~= step then return { 'idle' } end
  local holder, due, attempts, reason = read('', 'token', 'until', 'attempts', 'reason')
  attempts = tonumber(attempts or '0')
  if holder ~= token then
    if due and tonumber(due) > NOW then return { 'held', tostring(tonumber(due) - NOW) } end
    if attempts >= tonumber(most) then
      verbs.move(step, 'failed', step .. ' was ' .. given_up(attempts, reason), keep)
      return { 'idle' }
    end
    attempts = attempts + 1
    local ends = NOW + tonumber(lease)
    write('', 'state', 'running', 'token', token, 'until', ends, 'attempts', attempts, 'worker', worker)
    look_at('', ends + 1)
    if attempts > 1 then event('repeated', '', 'reason', step .. ', attempt ' .. attempts, 'worker', worker) end
  end
  return { 'taken', tostring(attempts) }
end

-- index, token, seconds of the lease; 1 if the lease is still the token's
function verbs.renew(index, token, lease)
  local held, late = holds(index, token)
  if not held then return 0 end
  local ends = NOW + tonumber(lease)
  write(index, 'until', ends)
  -- When to look at what was resumed is known already.
  if not late then look_at(index, ends + 1) end
  return 1
end

-- index, token, seconds, reason, 1 if the attempt counts, 1 if it only found that there is nothing to do yet;
-- 1 if the lease was still the token's
function verbs.wait(index, token, seconds, reason, counts, still)
  local held, late = holds(index, token)
  if not held then return 0 end
  if late then
    forget(index, 'late', 'until')
    return 1
  end
  local attempts, known = read(index, 'attempts', 'reason')
  local due = NOW + tonumber(seconds)
  if counts == '0' then attempts = attempts - 1 end
  write(index, 'state', 'waiting', 'until', due, 'reason', reason, 'attempts', attempts)
  forget(index, 'token')
  if still ~= '1' then
    forget(index, 'since')
  else
    redis.call('HSETNX', PROGRESS, index .. '.since', NOW)
  end
  look_at(index, due + PATIENCE)
  -- What is built for hours says so once; that an attempt came to nothing is news each time.
  if reason ~= known or counts == '1' then event('waiting', index, 'reason', reason, 'seconds', seconds) end
  return 1
end

-- index, token, key, physical id ('' only asks whether the token may build); 1 if the lease is still the token's
function verbs.note_made(index, token, key, physical_id)
  if not holds(index, token) then return 0 end
  if physical_id == '' then return redis.call('HGET', RECORD, 'state') == 'restoring' and 1 or 0 end
  local new = redis.call('HSET', MADE, index .. '/' .. key, physical_id) == 1
  -- What was one too many is so no more.
  local known = redis.call('HDEL', MADE, one_too_many(index, key, physical_id)) == 1
  if new and not known then tell_made(index, key, physical_id) end
  return 1
end

-- index, key, physical id of what somebody built who did not hold the resource any more: it is there all the same
function verbs.note_late(index, key, physical_id)
  if redis.call('EXISTS', RECORD) == 0 or redis.call('HGET', MADE, index .. '/' .. key) == physical_id then return end
  if redis.call('HSET', MADE, one_too_many(index, key, physical_id), physical_id) == 1 then
    tell_made(index, key, physical_id)
  end
end

-- index, token, how many bytes were read for it so far; 1 if the token may build
function verbs.note_moved(index, token, size)
  if not holds(index, token) or redis.call('HGET', RECORD, 'state') ~= 'restoring' then return 0 end
  event('moved', index, 'bytes', size)
  return 1
end

-- index, token, how many bytes were read for it
function verbs.note_read(index, token, size)
  if holds(index, token) then write(index, 'bytes', size) end
end

-- index, token, key; 1 if the lease is still the token's
function verbs.note_gone(index, token, key)
  if not holds(index, token) then return 0 end
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

-- JSON of how large one stack may be, '' if there is one
function verbs.limit(limits)
  if redis.call('EXISTS', RECORD) == 1 then redis.call('HSET', RECORD, 'limits', limits) end
end

-- JSON of all that comes back differently
function verbs.find(findings)
  if redis.call('EXISTS', RECORD) == 1 then redis.call('HSET', RECORD, 'findings', findings) end
end

-- index, token, outcome (done | failed), reason, then in ARGV original id and fragment in turn
function verbs.settle(index, token, outcome, reason)
  local state, holder, drew = read(index, 'state', 'token', 'drew')
  if not state then return { 'gone', {} } end
  local restore, epoch, priority = unpack(redis.call('HMGET', RECORD, 'state', 'epoch', 'priority'))
  if SETTLED[state] then return settled(epoch, priority, still_ready(index, drew)) end
  if holder ~= token or restore ~= 'restoring' then return { 'stale', {} } end
  for i = FIRST_FRAGMENT, #ARGV, 2 do
    local owner = redis.call('HGET', OWNERS, ARGV[i])
    if owner and owner ~= index then
      reason = ARGV[i] .. ' was put into the template already, by ' .. named(owner)
      return settled(epoch, priority, finish(index, 'failed', reason))
    end
  end
  for i = FIRST_FRAGMENT, #ARGV, 2 do
    redis.call('HSET', FRAGMENTS, ARGV[i], ARGV[i + 1])
    redis.call('HSET', OWNERS, ARGV[i], index)
  end
  return settled(epoch, priority, finish(index, outcome, reason))
end

-- epoch if it has to be that one: what can start at once and has not; takes the restore from checking to restoring
function verbs.begin(epoch)
  local state, leaves, current = unpack(redis.call('HMGET', RECORD, 'state', 'leaves', 'epoch'))
  if state ~= 'checking' and state ~= 'restoring' then return { 'idle', {} } end
  -- Whoever checked for an epoch that was cancelled does not speak for the next one.
  if epoch and epoch ~= current then return { 'idle', {} } end
  if state == 'checking' then
    redis.call('HSET', RECORD, 'state', 'restoring', 'updated', NOW, 'reason', '')
    event('restoring', '')
    end_step()
    if redis.call('HGET', RECORD, 'left') == '0' then look_at_restore() end
  end
  local open, held = {}, {}
  for index in string.gmatch(leaves, '%d+') do
    local now, sent, late = read(index, 'state', 'sent', 'late')
    -- A copy of the same task sends what was sent already, and no more than that.
    if now == 'ready' and (sent or state == 'checking') then table.insert(late and held or open, index) end
  end
  if state == 'checking' then
    -- An earlier version, which resumed it, leaves who stood in line before.
    local queues = {}
    for _, index in ipairs(open) do queues[queue_of(index)] = true end
    for queue in pairs(queues) do abandon(queue) end
    open = in_turn(open)
    -- Who comes for what somebody else still holds will wait, which is no reason for others to.
    for _, index in ipairs(held) do set_ready({ index }, true) end
  end
  for _, index in ipairs(held) do open[#open + 1] = index end
  return { 'restoring', nodes(open) }
end

-- state expected, new state, reason, days to keep what is finished, JSON of fields that hold templates or '' if there
-- are none now, token if it is for the one who holds the restore's step; 1 if it was so, and for assembling if nothing
-- is left
function verbs.move(from, to, reason, keep, hots, token)
  local state, left = unpack(redis.call('HMGET', RECORD, 'state', 'left'))
  if state ~= from or (to == 'assembling' and left ~= '0') then return 0 end
  if token and token ~= '' and read('', 'token') ~= token then return 0 end
  redis.call('HSET', RECORD, 'state', to, 'updated', NOW, 'reason', reason)
  if hots and hots ~= '' then
    for field, hot in pairs(cjson.decode(hots)) do redis.call('HSET', RECORD, field, hot) end
  end
  if to == 'discarding' then redis.call('HSET', RECORD, 'discarded', 1) end
  if to == 'destroying' then redis.call('HSET', RECORD, 'leaving', 1) end
  event(to, '', 'reason', reason)
  -- Heat may still be at a creation that was cancelled or given up: it is stopped there, and seen to its end.
  if AT_HEAT[to] or (from == 'creating' and (to == 'cancelled' or to == 'failed')) then
    redis.call('SADD', FOLLOWED, ID)
  else
    redis.call('SREM', FOLLOWED, ID)
  end
  -- What has ended is looked at, too: then its chords are closed, and after its life its id.
  look_at_restore()
  if FINAL[to] then
    tell(to)
    for i = 1, OWN_KEYS do redis.call('EXPIRE', KEYS[i], math.floor(tonumber(keep) * 86400)) end
  else
    for i = 1, OWN_KEYS do redis.call('PERSIST', KEYS[i]) end
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
  redis.call('HDEL', RECORD, 'leaving')
  local open, needs, leaves, queues = {}, {}, {}, {}
  for index = 0, size - 1 do
    if read(index, 'state') ~= 'done' then
      queues[queue_of(index)] = true
      open[#open + 1] = index
      for parent in parents_of(index) do needs[parent] = (needs[parent] or 0) + 1 end
    end
  end
  for queue in pairs(queues) do abandon(queue) end
  for _, index in ipairs(open) do
    local needed = needs[tostring(index)] or 0
    local state, holder = read(index, 'state', 'token')
    -- A worker that holds it may be making something just now: the next one comes when it would find that.
    if state == 'running' then
      write(index, 'late', holder)
    elseif state ~= 'ready' and state ~= 'planned' then
      forget(index, 'until', 'late')
    end
    forget(index, 'token', 'cause', 'ended', 'reason', 'attempts', 'looks', 'told', 'sent', 'since', 'drew')
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

-- index ('' for the restore itself), JSON of when the oldest message in a queue was sent by QUEUE/PRIORITY, 0 if nobody
-- knows; what is to be sent again now, if it is overdue
function verbs.look(index, oldest)
  local member = ID .. '/' .. index
  local due = redis.call('ZSCORE', DUE, member)
  if not due or tonumber(due) > NOW then return { 'later', {} } end
  local restore, left, epoch, priority = unpack(redis.call('HMGET', RECORD, 'state', 'left', 'epoch', 'priority'))
  if not restore or FINAL[restore] then
    look_no_more(index)
    if index ~= '' then return { 'over', {} } end
    if not restore then
      redis.call('ZREM', RESTORES, ID)
      return { 'over', {} }
    end
    look_at('', NOW + redis.call('PTTL', RECORD) / 1000 + 1)
    return { 'ended', epoch }
  end
  look_at(index, NOW + PATIENCE)
  if index ~= '' then
    local state, sent = read(index, 'state', 'sent')
    if restore ~= 'restoring' or SETTLED[state] or state == 'planned' then
      look_no_more(index)
      return { 'over', {} }
    end
    local queue = queue_of(index)
    if state == 'ready' and not sent then
      -- What an earlier version took up is in the list still.
      local in_queue = still_sent(read(queue, 'sent'))
      if #in_queue > SHARE / 2 then
        look_at(index, NOW + PATIENCE_IN_LINE)
        return { 'later', {} }
      end
      local drawn = draw(queue, in_queue)
      if drawn[1] then return { 'resources', nodes(drawn) } end
    end
    -- Queues are taken from in order: if the oldest message there is not younger than its own, that may be there, too.
    local first = cjson.decode(oldest)[queue .. '/' .. (priority or 'high')]
    if state == 'ready' and first and tonumber(sent or '0') >= tonumber(first) then return { 'later', {} } end
    if state == 'ready' then write(index, 'sent', NOW) end
    resent(index, state)
    return { 'resources', nodes({ index }) }
  end
  if restore == 'restoring' and left ~= '0' then
    look_no_more(index)
    return { 'over', {} }
  end
  -- What Heat works on is the poller's, which asks for all but the creation itself.
  local asked = redis.call('HGET', STACK, 'asked') == redis.call('HGET', RECORD, 'updated')
  if AT_HEAT[restore] and (restore ~= 'creating' or asked) then return { 'later', {} } end
  resent('', restore)
  return { restore, {} }
end

-- The answer comes last, since there may be none.
local answer = verbs[VERB](unpack(ARGV, FIRST_ARGUMENT, math.min(#ARGV, LAST_ARGUMENT)))
return { told, answer }
