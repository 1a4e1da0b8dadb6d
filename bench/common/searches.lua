-- What wrk asks: the questions of a file, a line each as the JSON body of a search, in an order of each thread's own.
-- wrk ... -s bench/searches.lua URL -- BODIES PATH [KEY]

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(arguments)
  bodies = {}
  for line in io.lines(arguments[1]) do
    bodies[#bodies + 1] = line
  end
  headers = { ["content-type"] = "application/json" }
  if arguments[3] then
    headers["authorization"] = "Bearer " .. arguments[3]
  end
  path = arguments[2]
  next_one = number * 7919
end

function request()
  next_one = next_one + 1
  return wrk.format("POST", path, headers, bodies[next_one % #bodies + 1])
end
