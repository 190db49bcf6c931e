#!/bin/sh
# Asks the database once a second, and says what came of it.
while :; do
    if answer=$(psql --no-psqlrc -At -c 'select 40 + 2' 2>&1); then
        echo "the database says $answer"
    else
        echo "no answer: $answer"
    fi
    sleep 1
done
