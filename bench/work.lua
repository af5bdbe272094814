-- What each client does, and how long it takes; `steps` and `contains` stand above.
local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } bench_moment;
int clock_gettime(int, bench_moment *);
]]
local moment = ffi.new("bench_moment")
local threads = {}

local function now()
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

function setup(thread)
  table.insert(threads, thread)
end

function init()
  position, captured, gathered = 1, "", ""
  times, fault = {}, ""
end

function request()
  local step = steps[position]
  if position == 1 then begun = now() end
  local path = step.path:gsub("{}", captured)
  return wrk.format(step.method, path, step.headers, step.body)
end

local function has(text, part)
  return text:find(part, 1, true) ~= nil
end

local function finish(why)
  if why and fault == "" then fault = why .. gathered:sub(1, 500) end
  if not why then times[#times + 1] = now() - begun end
  position, gathered = 1, ""
end

function response(status, _, body)
  local step = steps[position]
  gathered = gathered .. body
  if status ~= step.status then return finish("status " .. status .. ": ") end
  if step.capture ~= "" then captured = body:match(step.capture) or "" end
  if not has(body, step["until"]) then return end
  position = position + 1
  if position <= #steps then return end
  for _, part in ipairs(contains) do
    if not has(gathered, part) then return finish("without " .. part .. ": ") end
  end
  finish()
end

function done(summary)
  local all, errors = {}, summary.errors
  local wrong = errors.connect + errors.timeout
  for _, thread in ipairs(threads) do
    for _, time in ipairs(thread:get("times")) do all[#all + 1] = time end
    local why = thread:get("fault")
    if why ~= "" then print(why); wrong = wrong + 1 end
  end
  table.sort(all)
  local function percentile(part)
    return #all > 0 and all[math.max(1, math.ceil(part * #all))] * 1000 or 0
  end
  print(string.format(
    'RESULT {"fault": %d, "works": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f}',
    wrong, #all, summary.duration / 1e6, percentile(0.5), percentile(0.99)))
end
