-- wrk's side of a measurement: requests as the table in the file named by the first argument says.
-- keyed: each request carries an Idempotency-Key of its own, random as the client's are.

local prefixes, middle, tail, count, keyed
local random, format = math.random, string.format

function init(arguments)
    local spec = dofile(arguments[1])
    math.randomseed(tonumber(arguments[2]))
    keyed = spec.keyed
    count = #spec.paths
    local headers = {"Host: " .. wrk.host}
    for name, value in pairs(spec.headers) do
        headers[#headers + 1] = name .. ": " .. value
    end
    if spec.body then
        headers[#headers + 1] = "Content-Length: " .. #spec.body
    end
    tail = "\r\n\r\n" .. (spec.body or "")
    middle = table.concat(headers, "\r\n")
    prefixes = {}
    for i, path in ipairs(spec.paths) do
        prefixes[i] = spec.method .. " " .. path .. " HTTP/1.1\r\n" .. middle
        if not keyed then
            prefixes[i] = prefixes[i] .. tail
        end
    end
end

function request()
    local made = prefixes[count == 1 and 1 or random(count)]
    if not keyed then
        return made
    end
    local key = format("\r\nIdempotency-Key: %08x%08x%08x%08x",
        random(0, 4294967295), random(0, 4294967295), random(0, 4294967295), random(0, 4294967295))
    return made .. key .. tail
end

function done(summary, latency, requests)
    local errors = summary.errors
    print(format('FOUND {"seconds": %.6f, "requests": %d, "p50": %.3f, "p95": %.3f, "p99": %.3f, "errors": %d}',
        summary.duration / 1e6, summary.requests, latency:percentile(50) / 1000, latency:percentile(95) / 1000,
        latency:percentile(99) / 1000,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
