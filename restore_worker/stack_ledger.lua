-- What is known of a restore's stack changes here, in one script: all or nothing.
-- Whoever writes names the state of the restore that it belongs to: out of it, nothing is written.
--
-- KEYS, as in the key map of ledger.py
local RECORD, STACK, BUILT, EVENTS, FOLLOWED = unpack(KEYS)
-- ARGV: verb, state, restore id, number of the stack ('0' if it is the only one), then the verb's own arguments
local VERB, STATE, ID, NUMBER = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- Before the names of its fields, and of what is built in it.
local OWN, WITHIN = '', ''
if NUMBER ~= '0' then OWN, WITHIN = NUMBER .. '.', NUMBER .. '/' end

local state, entered = unpack(redis.call('HMGET', RECORD, 'state', 'updated'))
-- That of a restore which has expired is ''.
if (state or '') ~= STATE then return { {} } end

-- What happens, for the log, as in ledger.lua.
local told = {}

local function event(name, ...)
  redis.call('XADD', EVENTS, '*', 'event', name, 'resource', '', ...)
  told[#told + 1] = { name, '', ... }
end

local function read(name)
  return redis.call('HGET', STACK, OWN .. name)
end

local function write(...)
  local pairs_ = { ... }
  for i = 1, #pairs_, 2 do pairs_[i] = OWN .. pairs_[i] end
  redis.call('HSET', STACK, unpack(pairs_))
end

local verbs = {}

-- what the stack is like now, 1 to keep that as what it was like before, unless that is known for this state
-- what it was like before, 1 if Heat was asked, 1 if its outputs are known
function verbs.begin(mark, keep)
  if read('began') ~= entered then
    if keep ~= '1' then return { mark, 0, 0 } end
    write('began', entered, 'before', mark)
  end
  return { read('before'), read('asked') == entered and 1 or 0, read('finished') == entered and 1 or 0 }
end

-- id of the stack: Heat was asked to do what belongs to the state; not if it was in an earlier visit to this state
function verbs.asked(id)
  if read('began') ~= entered then return 0 end
  write('id', id, 'asked', entered)
  return 1
end

-- how many stacks there are, of how many the outputs were known: Heat was asked for all that can be made of that
-- 1 if no more are known now
function verbs.rest(total, known)
  local count = 0
  for number = 1, total do
    if redis.call('HGET', STACK, number .. '.finished') == entered then count = count + 1 end
  end
  if count ~= tonumber(known) then return 0 end
  redis.call('HSET', STACK, 'asked', entered)
  return 1
end

-- id of the stack, last event seen before, last event seen now, status, reason,
-- JSON {built: {name: JSON}, events: [[name, status, reason, time or ""]]}; 1 if nobody else has seen more
function verbs.observe(id, from, to, status, reason, news)
  if (read('seen') or '') ~= from then return 0 end
  write('id', id, 'seen', to, 'status', status, 'reason', reason)
  redis.call('HDEL', STACK, 'told')
  local decoded = cjson.decode(news)
  for name, built in pairs(decoded.built) do redis.call('HSET', BUILT, WITHIN .. name, built) end
  for _, each in ipairs(decoded.events) do
    local words = { 'name', each[1], 'status', each[2], 'reason', each[3] }
    if (each[4] or '') ~= '' then words[7], words[8] = 'time', each[4] end
    event('stack', unpack(words))
  end
  return 1
end

-- JSON of the outputs by name
function verbs.finish(outputs)
  write('outputs', outputs, 'finished', entered)
  -- With these, another stack may be asked for.
  if NUMBER ~= '0' then redis.call('HDEL', STACK, 'asked') end
  return 1
end

-- what is waited for; no news if it was told before
function verbs.tell(reason)
  if redis.call('HGET', STACK, 'told') == reason then return 0 end
  redis.call('HSET', STACK, 'told', reason)
  event('waiting', 'reason', reason)
  return 1
end

-- The stack is gone; 1 for keep: what it built is not.
function verbs.gone(keep)
  redis.call('HDEL', STACK, OWN .. 'id', OWN .. 'seen', OWN .. 'outputs', OWN .. 'finished')
  write('status', 'DELETE_COMPLETE', 'reason', '')
  if keep == '1' then return 1 end
  for _, name in ipairs(redis.call('HKEYS', BUILT)) do
    if (string.match(name, '^(%d+)/') or '0') == NUMBER then redis.call('HDEL', BUILT, name) end
  end
  return 1
end

-- Nobody needs to look at the stack any more.
function verbs.unfollow()
  return redis.call('SREM', FOLLOWED, ID)
end

local answer = verbs[VERB](unpack(ARGV, 5))
-- What is noted of a restore that has ended is to be forgotten with it.
local rest = redis.call('PTTL', RECORD)
if rest >= 0 then
  redis.call('PEXPIRE', STACK, rest)
  redis.call('PEXPIRE', BUILT, rest)
end
return { told, answer }
