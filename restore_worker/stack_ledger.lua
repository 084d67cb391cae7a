-- What is known of a restore's stack changes here, in one script: all or nothing.
-- Whoever writes names the state of the restore that it belongs to: out of it, nothing is written.
--
-- KEYS, as in the key map of ledger.py
local RECORD, STACK, BUILT, EVENTS, FOLLOWED = unpack(KEYS)
local VERB, STATE, ID = ARGV[1], ARGV[2], ARGV[3]

local state, entered = unpack(redis.call('HMGET', RECORD, 'state', 'updated'))
-- That of a restore which has expired is ''.
if (state or '') ~= STATE then return { {} } end

-- What happens, for the log, as in ledger.lua.
local told = {}

local function event(name, ...)
  redis.call('XADD', EVENTS, '*', 'event', name, 'resource', '', ...)
  told[#told + 1] = { name, '', ... }
end

local verbs = {}

-- what the stack is like now, 1 to keep that as what it was like before, unless that is known for this state
-- what it was like before, and 1 if Heat was asked
function verbs.begin(mark, keep)
  if redis.call('HGET', STACK, 'began') ~= entered then
    if keep ~= '1' then return { mark, 0 } end
    redis.call('HSET', STACK, 'began', entered, 'before', mark)
  end
  return { redis.call('HGET', STACK, 'before'), redis.call('HGET', STACK, 'asked') == entered and 1 or 0 }
end

-- id of the stack: Heat was asked to do what belongs to the state; not if it was in an earlier visit to this state
function verbs.asked(id)
  if redis.call('HGET', STACK, 'began') ~= entered then return 0 end
  redis.call('HSET', STACK, 'id', id, 'asked', entered)
  return 1
end

-- id of the stack, last event seen before, last event seen now, status, reason,
-- JSON {built: {name: JSON}, events: [[name, status, reason, time or ""]]}; 1 if nobody else has seen more
function verbs.observe(id, from, to, status, reason, news)
  if (redis.call('HGET', STACK, 'seen') or '') ~= from then return 0 end
  redis.call('HSET', STACK, 'id', id, 'seen', to, 'status', status, 'reason', reason)
  redis.call('HDEL', STACK, 'told')
  local decoded = cjson.decode(news)
  for name, built in pairs(decoded.built) do redis.call('HSET', BUILT, name, built) end
  for _, each in ipairs(decoded.events) do
    local words = { 'name', each[1], 'status', each[2], 'reason', each[3] }
    if (each[4] or '') ~= '' then words[7], words[8] = 'time', each[4] end
    event('stack', unpack(words))
  end
  return 1
end

-- JSON of the outputs by name
function verbs.finish(outputs)
  redis.call('HSET', STACK, 'outputs', outputs)
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
  redis.call('HDEL', STACK, 'id', 'seen', 'outputs')
  redis.call('HSET', STACK, 'status', 'DELETE_COMPLETE', 'reason', '')
  if keep ~= '1' then redis.call('DEL', BUILT) end
  return 1
end

-- Nobody needs to look at the stack any more.
function verbs.unfollow()
  return redis.call('SREM', FOLLOWED, ID)
end

local answer = verbs[VERB](unpack(ARGV, 4))
-- What is noted of a restore that has ended is to be forgotten with it.
local rest = redis.call('PTTL', RECORD)
if rest >= 0 then
  redis.call('PEXPIRE', STACK, rest)
  redis.call('PEXPIRE', BUILT, rest)
end
return { told, answer }
