#!/bin/bash
# An agent over ACP that does what its prompt says: `say`, `hold`, `die` or `cost`. Ids of requests are texts.

send() { printf '{"jsonrpc":"2.0",%s}\n' "$1"; }
update() { send "\"method\":\"session/update\",\"params\":{\"sessionId\":\"s1\",\"update\":{$1}}"; }
say() { update "\"sessionUpdate\":\"agent_message_chunk\",\"content\":{\"type\":\"text\",\"text\":\"$1\"}"; }
answer() { send "\"id\":\"$1\",\"result\":{$2}"; }

while IFS= read -r line; do
    id=
    [[ $line =~ \"id\":\"([^\"]*)\" ]] && id=${BASH_REMATCH[1]}
    case $line in
    *'"method":"initialize"'*)
        answer "$id" '"protocolVersion":1,"agentCapabilities":{"loadSession":false}'
        ;;
    *'"method":"session/new"'*)
        answer "$id" '"sessionId":"s1"'
        ;;
    *'"method":"session/cancel"'*)
        say "stopped"
        answer "$held" '"stopReason":"cancelled"'
        ;;
    *'"method":"session/prompt"'*)
        [[ $line =~ \"text\":\"([^\"]*)\" ]] && prompt=${BASH_REMATCH[1]}
        case $prompt in
        hold*)
            # Works until it is cancelled.
            held=$id
            say "holding"
            ;;
        die*)
            say "dying"
            echo "out of luck" >&2
            exit 3
            ;;
        cost*)
            update '"sessionUpdate":"usage_update","used":10,"size":100,"cost":{"amount":0.5,"currency":"USD"}'
            answer "$id" '"stopReason":"end_turn"'
            ;;
        wait*)
            # Works until a file appears.
            say "waiting"
            while [ ! -e "${prompt#wait for }" ]; do sleep 0.05; done
            say " done"
            answer "$id" '"stopReason":"end_turn"'
            ;;
        *)
            say "you said: "
            say "$prompt"
            answer "$id" '"stopReason":"end_turn"'
            ;;
        esac
        ;;
    esac
done
