# Alarms on ourselves: functions, queues, the table, the API, tickets. These mail, for the day on which nobody of ours opens tickets.
# Names and time-outs of the functions are .chalice/config.json's (local.chalice, local.functions).

locals {
  # What EventBridge calls, each by a rule of its own that `chalice deploy` makes; tools/policies.py has the same list.
  event_functions = toset(["image_pushed", "deployment_changed", "task_changed", "alarm_changed", "tick_schedule", "event_sweep"])
  ops             = "${local.name}-ops"

  own_alarms = merge(local.function_alarms, local.event_alarms, local.tracker_alarms, local.ops_alarms)

  function_alarms = merge([
    for function, name in local.functions : {
      "${local.ops}-${function}-errors" = {
        says    = "Function ${name} has failed in two of three 5 minutes"
        metric  = ["AWS/Lambda", "Errors", "Sum"]
        of      = { FunctionName = name }
        period  = 300
        periods = 3
        bad     = 2 # one failure is tried again; what fails for good is in the dead queue
        over    = 0
        missing = "notBreaching" # not called, not failed
      }
      "${local.ops}-${function}-throttled" = {
        says    = "Function ${name} has been refused by Lambda's concurrency limits in two of three 5 minutes"
        metric  = ["AWS/Lambda", "Throttles", "Sum"]
        of      = { FunctionName = name }
        period  = 300
        periods = 3
        bad     = 2 # a reserved concurrency of one refuses now and then, and the event waits
        over    = 0
        missing = "notBreaching" # not called, not refused
      }
      "${local.ops}-${function}-slow" = {
        says    = "Function ${name} has taken more than 80 % of its ${local.chalice.lambda_functions[function].lambda_timeout} seconds in two of three 5 minutes"
        metric  = ["AWS/Lambda", "Duration", "Maximum"]
        of      = { FunctionName = name }
        period  = 300
        periods = 3
        bad     = 2
        over    = 0.8 * local.chalice.lambda_functions[function].lambda_timeout * 1000
        missing = "notBreaching" # not called, not slow
      }
    }
  ]...)

  event_alarms = merge([
    for function in local.event_functions : {
      "${local.ops}-${function}-events-lost" = {
        says       = "Lambda has dropped events for ${local.functions[function]}, or could not write what failed to the dead queue"
        expression = "FILL(dropped, 0) + FILL(undelivered, 0)"
        metrics = {
          dropped     = ["AWS/Lambda", "AsyncEventsDropped", "Sum", { FunctionName = local.functions[function] }]
          undelivered = ["AWS/Lambda", "DestinationDeliveryFailures", "Sum", { FunctionName = local.functions[function] }]
        }
        period  = 300
        periods = 1
        over    = 0
        missing = "notBreaching" # told only when there are any
      }
      "${local.ops}-${function}-rule-failing" = {
        says       = "EventBridge could not call ${local.functions[function]}: the event failed, went to the dead queue, or did not get even there"
        expression = "FILL(failed, 0) + FILL(dead, 0) + FILL(lost, 0)"
        metrics = {
          failed = ["AWS/Events", "FailedInvocations", "Sum", { RuleName = "${local.functions[function]}-event" }]
          dead   = ["AWS/Events", "InvocationsSentToDlq", "Sum", { RuleName = "${local.functions[function]}-event" }]
          lost   = ["AWS/Events", "InvocationsFailedToBeSentToDlq", "Sum", { RuleName = "${local.functions[function]}-event" }]
        }
        period  = 300
        periods = 1
        over    = 0
        missing = "notBreaching" # told only when there are any
      }
    }
  ]...)

  tracker_alarms = {
    for tracker in keys(local.fleet.incidents.trackers) : "${local.ops}-tickets-${tracker}-failing" => {
      says    = "Tickets could not be told to ${tracker} in two of three 5 minutes"
      metric  = ["xai-ops", "TicketDeliveryFailed", "Sum"]
      of      = { environment = var.environment, tracker = tracker }
      period  = 300
      periods = 3
      bad     = 2 # a failed delivery is tried again
      over    = 0
      missing = "notBreaching" # told only when there are any
    }
  }

  ops_alarms = {
    "${local.ops}-schedule-silent" = {
      says       = "${local.functions.tick_schedule}, which runs every minute, has not been called for 5 minutes: overdue work waits"
      expression = "FILL(calls, 0)"
      metrics    = { calls = ["AWS/Lambda", "Invocations", "Sum", { FunctionName = local.functions.tick_schedule }] }
      period     = 300
      periods    = 1
      under      = 1
      missing    = "breaching" # no call is no number
    }
    "${local.ops}-sweep-silent" = {
      says       = "${local.functions.event_sweep}, which runs every 5 minutes, has not been called for 15 minutes: lost events stay lost"
      expression = "FILL(calls, 0)"
      metrics    = { calls = ["AWS/Lambda", "Invocations", "Sum", { FunctionName = local.functions.event_sweep }] }
      period     = 900
      periods    = 1
      under      = 1
      missing    = "breaching" # no call is no number
    }
    "${local.ops}-dead-letters" = {
      says    = "What failed for good lies in ${aws_sqs_queue.dead.name}"
      metric  = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum"]
      of      = { QueueName = aws_sqs_queue.dead.name }
      period  = 300
      periods = 1
      over    = 0
      missing = "notBreaching" # SQS tells nothing of a queue that was empty and unused for six hours
    }
    "${local.ops}-ticks-late" = {
      says    = "The oldest wake message in ${aws_sqs_queue.ticks.name} is more than 20 minutes old: ticks come late or fail"
      metric  = ["AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum"]
      of      = { QueueName = aws_sqs_queue.ticks.name }
      period  = 60
      periods = 5
      over    = 1200           # the longest that a message may be told to wait is 15 minutes
      missing = "notBreaching" # an empty queue has no oldest message
    }
    "${local.ops}-api-5xx" = {
      says       = "More than ${local.watch.api_error_percent} % of the calls of our HTTP API have failed for 5 minutes"
      expression = "IF(errors >= ${local.fewest_errors}, 100 * errors / calls, 0)"
      metrics = {
        errors = ["AWS/ApiGateway", "5XXError", "Sum", local.api_dimensions]
        calls  = ["AWS/ApiGateway", "Count", "Sum", local.api_dimensions]
      }
      period  = 300
      periods = 1
      over    = local.watch.api_error_percent
      missing = "notBreaching" # no calls, no errors
    }
    # Alarms on DynamoDB's metrics ignore missing data whatever they are told, and would never come back: FILL says zero instead.
    "${local.ops}-table-throttled" = {
      says       = "DynamoDB has refused reads or writes of ${aws_dynamodb_table.ops.name} in two of three 5 minutes"
      expression = "FILL(reads, 0) + FILL(writes, 0) + FILL(open_reads, 0) + FILL(open_writes, 0)"
      metrics = {
        reads       = ["AWS/DynamoDB", "ReadThrottleEvents", "Sum", { TableName = aws_dynamodb_table.ops.name }]
        writes      = ["AWS/DynamoDB", "WriteThrottleEvents", "Sum", { TableName = aws_dynamodb_table.ops.name }]
        open_reads  = ["AWS/DynamoDB", "ReadThrottleEvents", "Sum", { TableName = aws_dynamodb_table.ops.name, GlobalSecondaryIndexName = "open" }]
        open_writes = ["AWS/DynamoDB", "WriteThrottleEvents", "Sum", { TableName = aws_dynamodb_table.ops.name, GlobalSecondaryIndexName = "open" }]
      }
      period  = 300
      periods = 3
      bad     = 2
      over    = 0
      missing = "notBreaching" # told only when there are any
    }
    "${local.ops}-table-failing" = {
      says       = "DynamoDB itself has failed more than ${local.fewest_errors} calls on ${aws_dynamodb_table.ops.name} in 5 minutes"
      expression = join(" + ", [for operation in local.table_operations : "FILL(${lower(operation)}, 0)"])
      metrics = {
        for operation in local.table_operations : lower(operation) => ["AWS/DynamoDB", "SystemErrors", "Sum", { TableName = aws_dynamodb_table.ops.name, Operation = operation }]
      }
      period  = 300
      periods = 1
      over    = local.fewest_errors
      missing = "notBreaching" # told only when there are any
    }
    "${local.ops}-handlers-failing" = {
      says       = "Handlers of ours have failed in two of three 5 minutes; the log has handler_failed with the cause"
      expression = "SELECT SUM(HandlerFailed) FROM SCHEMA(\"xai-ops\", environment, kind) WHERE environment = '${var.environment}'"
      metrics    = {} # every kind of error, also those to come
      period     = 300
      periods    = 3
      bad        = 2
      over       = 0
      missing    = "notBreaching" # told only when there are any
    }
    "${local.ops}-actions-failing" = {
      says       = "What rollouts wanted to do has failed in two of three 5 minutes; the log has action_failed with the cause"
      expression = "SELECT SUM(ActionFailed) FROM SCHEMA(\"xai-ops\", environment, action) WHERE environment = '${var.environment}'"
      metrics    = {} # every action, also those to come
      period     = 300
      periods    = 3
      bad        = 2
      over       = 0
      missing    = "notBreaching" # told only when there are any
    }
    "${local.ops}-incidents-failing" = {
      says    = "Ticks of incidents have failed in two of three 5 minutes: tickets may be late"
      metric  = ["xai-ops", "IncidentTickFailed", "Sum"]
      of      = { environment = var.environment }
      period  = 300
      periods = 3
      bad     = 2
      over    = 0
      missing = "notBreaching" # told only when there are any
    }
  }

  api_dimensions   = { ApiName = local.chalice.app_name, Stage = local.chalice.stages[var.environment].api_gateway_stage }
  table_operations = ["BatchGetItem", "DeleteItem", "GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"]
}
