-- For wrk: sends the bytes of a file as the request, and reports in one line of JSON.
local request_bytes

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  request_bytes = file:read("*a")
  file:close()
end

function request()
  return request_bytes
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"seconds":%f,"answers":%d,"p50":%f,"p99":%f,"refused":%d,"failed":%d}\n',
    summary.duration / 1e6, summary.requests, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
